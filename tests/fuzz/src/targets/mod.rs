//! The fuzz targets. Each is a function of the bytes of an input.

mod headers;
mod http_requests;
mod import_lines;
mod json_bodies;
mod key_text;
mod oauth;
mod paths;
mod presented_tokens;
mod resource_patterns;
mod texts;

use crate::server::{server, server_of_forwarded};

pub struct Target {
    pub name: &'static str,
    /// Starts its servers, which may take longer than an input.
    pub start: fn(),
    /// The files whose coverage is reported.
    pub parsers: &'static [&'static str],
    /// Reads an input. `None` for one that is not worth keeping in a corpus.
    pub run: fn(&[u8]) -> Option<()>,
}

fn start_server() {
    drop(server());
}

fn start_servers() {
    start_server();
    drop(server_of_forwarded());
}

pub const ALL: &[Target] = &[
    Target {
        name: "key_text",
        start: || {},
        parsers: &[
            "src/domain/common/base62.rs",
            "src/domain/common/key_text.rs",
            "src/domain/credentials/format.rs",
            "src/domain/credentials/imported.rs",
        ],
        run: key_text::run,
    },
    Target {
        name: "resource_patterns",
        start: || {},
        parsers: &[
            "src/domain/access/resource.rs",
            "src/domain/access/resource_template.rs",
            "src/domain/common/percent_encoding.rs",
        ],
        run: resource_patterns::run,
    },
    Target {
        name: "texts",
        start: || {},
        parsers: &[
            "src/domain/access/audience.rs",
            "src/domain/access/claim_map.rs",
            "src/domain/common/derived_id.rs",
            "src/domain/common/id.rs",
            "src/domain/common/json.rs",
            "src/domain/common/name.rs",
            "src/domain/common/origin.rs",
            "src/domain/common/preconditions.rs",
            "src/domain/common/time.rs",
            "src/domain/portal/branding.rs",
            "src/domain/webhooks/mod.rs",
            "src/service/credentials/caller.rs",
        ],
        run: texts::run,
    },
    Target {
        name: "form",
        start: start_server,
        parsers: &[
            "src/http/credentials/client.rs",
            "src/http/credentials/client_authentication.rs",
            "src/http/exchange/token.rs",
            "src/http/extract/form.rs",
            "src/http/extract/parameter_names.rs",
        ],
        run: oauth::form,
    },
    Target {
        name: "basic",
        start: start_server,
        parsers: &["src/http/credentials/client_authentication.rs"],
        run: oauth::basic,
    },
    Target {
        name: "presented_tokens",
        start: start_server,
        parsers: &[
            "src/crypto/token.rs",
            "src/domain/exchange/claims.rs",
            "src/domain/exchange/presented_token.rs",
            "src/service/credentials/token.rs",
            "src/service/introspection/resolve.rs",
        ],
        run: presented_tokens::run,
    },
    Target {
        name: "json_bodies",
        start: start_server,
        parsers: &[
            "src/domain/common/json.rs",
            "src/http/api_keys/bodies.rs",
            "src/http/extract/json.rs",
            "src/service/access/access_records/requested.rs",
            "src/service/common/json_errors.rs",
        ],
        run: json_bodies::run,
    },
    Target {
        name: "request_headers",
        start: start_server,
        parsers: &[
            "src/domain/common/preconditions.rs",
            "src/http/accept.rs",
            "src/http/cors.rs",
            "src/http/extract/access.rs",
            "src/http/extract/conditional.rs",
            "src/http/portal/cookie.rs",
            "src/service/credentials/caller.rs",
        ],
        run: headers::run,
    },
    Target {
        name: "forwarded_headers",
        start: start_servers,
        parsers: &["src/http/extract/client_address.rs"],
        run: headers::forwarded,
    },
    Target {
        name: "query_strings",
        start: start_server,
        parsers: &["src/http/extract/parameter_names.rs", "src/http/extract/query.rs"],
        run: paths::query_strings,
    },
    Target {
        name: "paths",
        start: start_server,
        parsers: &["src/domain/common/id.rs", "src/domain/common/percent_encoding.rs", "src/http/extract/path.rs"],
        run: paths::run,
    },
    Target {
        name: "import_lines",
        start: start_server,
        parsers: &[
            "src/http/directory/import.rs",
            "src/service/directory/import/chunk.rs",
            "src/service/directory/import/line.rs",
            "src/service/directory/import/lines.rs",
            "src/service/directory/import/mod.rs",
        ],
        run: import_lines::run,
    },
    Target {
        name: "http_requests",
        start: start_server,
        parsers: &["src/http/connection/receive_deadline.rs", "src/http/connection/stream.rs"],
        run: http_requests::run,
    },
];
