//! What browsers load, as it stands in `assets`: there is no build step, and what is served is what was written.

/// A file that pages load.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// Its folder and its name, by which modules import each other.
    pub path: &'static str,
    pub text: &'static str,
}

macro_rules! assets {
    ($($path:literal),* $(,)?) => { &[$(Asset { path: $path, text: include_str!(concat!("assets/", $path)) }),*] };
}

pub const ASSETS: &[Asset] = assets![
    "portal/page.css",
    "portal/page.js",
    "widget/api.js",
    "widget/dialogs.js",
    "widget/dom.js",
    "widget/element.js",
    "widget/keys.js",
    "widget/modal.js",
    "widget/secret.js",
    "widget/style.js",
    "widget/texts.js",
    "widget/when.js",
];

/// What a product's page loads: it names the modules by what is in all of them, so that these can be kept for ever.
pub fn widget(hash: &str) -> String {
    format!(
        "import {{ define }} from \"../assets/{hash}/widget/element.js\";\ndefine(new URL(\"../\", import.meta.url));\n"
    )
}

/// The hosted page: one for the own keys and for the organization's, told apart by its address.
pub fn page(hash: &str) -> String {
    // All modules at once, and not one after the other as they name each other.
    let modules = ASSETS.iter().filter(|asset| asset.path.ends_with(".js"));
    let preload: Vec<_> = modules
        .map(|module| format!("<link rel=\"modulepreload\" href=\"../assets/{hash}/{}\">", module.path))
        .collect();
    include_str!("assets/portal/page.html").replace("{preload}", &preload.join("\n    ")).replace("{hash}", hash)
}
