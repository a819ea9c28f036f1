//! What browsers load, as it stands in `assets`: there is no build step, and what is served is what was written.

/// A script that the widget is made of.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    pub name: &'static str,
    pub text: &'static str,
}

macro_rules! scripts {
    ($($name:literal),*) => { &[$(Script { name: $name, text: include_str!(concat!("assets/widget/", $name)) }),*] };
}

/// The modules of the widget, which name each other by their files' names.
pub const WIDGET: &[Script] =
    scripts!("api.js", "dialogs.js", "dom.js", "element.js", "keys.js", "secret.js", "style.js", "texts.js", "when.js");

/// What a product's page loads: it names the modules by what is in them, so that these can be kept for ever.
pub fn entry(hash: &str) -> String {
    format!("import {{ define }} from \"./{hash}/element.js\";\ndefine(new URL(\"../\", import.meta.url));\n")
}
