//! The files that browsers load, embedded from `assets`. There is no build step: the source files
//! are served unchanged.

/// A file that pages load.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// Directory and file name. Modules import each other by these paths.
    pub path: &'static str,
    pub text: &'static str,
}

macro_rules! assets {
    ($($path:literal),* $(,)?) => { &[$(Asset { path: $path, text: include_str!(concat!("assets/", $path)) }),*] };
}

pub const ASSETS: &[Asset] = assets![
    "console/access_records.js",
    "console/address.js",
    "console/audiences.js",
    "console/audit_log.js",
    "console/branding.js",
    "console/chart.js",
    "console/chart_style.js",
    "console/confirmation.js",
    "console/contrast.js",
    "console/elements.js",
    "console/event_list.js",
    "console/event_types.js",
    "console/events.js",
    "console/form.js",
    "console/key_detail.js",
    "console/key_form.js",
    "console/key_list.js",
    "console/organizations.js",
    "console/overview.js",
    "console/owner_field.js",
    "console/page.css",
    "console/page.js",
    "console/page_view.js",
    "console/permission_names.js",
    "console/permissions.js",
    "console/preview.js",
    "console/resource_view.js",
    "console/roles.js",
    "console/routes.js",
    "console/service_clients.js",
    "console/session.js",
    "console/shell.js",
    "console/sign_in.js",
    "console/signing_keys.js",
    "console/signing_texts.js",
    "console/statement_field.js",
    "console/style.js",
    "console/texts.js",
    "console/timeline.js",
    "console/users.js",
    "console/webhooks.js",
    "portal/page.css",
    "portal/page.js",
    "widget/api.js",
    "widget/click_guard.js",
    "widget/dom.js",
    "widget/element.js",
    "widget/form_dialog.js",
    "widget/key_dialogs.js",
    "widget/keys_view.js",
    "widget/list_table.js",
    "widget/modal.js",
    "widget/notice.js",
    "widget/permission_choices.js",
    "widget/secret_dialog.js",
    "widget/style.js",
    "widget/texts.js",
    "widget/time.js",
];

/// The entry module that a page of the product loads. It imports the other modules by the hash of
/// all assets, so that those can be cached indefinitely.
pub fn widget(hash: &str) -> String {
    format!(
        "import {{ define }} from \"../assets/{hash}/widget/element.js\";\ndefine(new URL(\"../\", import.meta.url));\n"
    )
}

/// The hosted page. Its URL determines whether it shows the user's own keys or the keys of the
/// organization.
pub fn portal(hash: &str) -> String {
    render_page(include_str!("assets/portal/page.html"), "../", "portal/", hash)
}

/// The console, the page for operators.
pub fn console(hash: &str) -> String {
    render_page(include_str!("assets/console/page.html"), "", "console/", hash)
}

/// Returns a page whose relative path to the base URL is `root`. The page preloads its own modules
/// and those of the widget in parallel, instead of one after the other along their imports.
fn render_page(html: &str, root: &str, own: &str, hash: &str) -> String {
    let is_module = |path: &str| path.ends_with(".js") && (path.starts_with(own) || path.starts_with("widget/"));
    let modules = ASSETS.iter().filter(|asset| is_module(asset.path));
    let preload: Vec<_> = modules
        .map(|module| format!("<link rel=\"modulepreload\" href=\"{root}assets/{hash}/{}\">", module.path))
        .collect();
    html.replace("{preload}", &preload.join("\n    ")).replace("{hash}", hash)
}
