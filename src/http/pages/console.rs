//! `/console`: the operators' page, and how a browser gets its session there and gives it back.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::{
    http::{
        access::Anyone,
        assets::Assets,
        openapi::{
            answers::{NoEntry, Page as PageAnswer, Session},
            params::OfTheConsole,
        },
        problem::Problem,
        request::call,
        v1::json::Json,
    },
    service::{App, console},
};

use super::{
    cookie::{self, Page},
    require, shown, with_cookie,
};

/// The page on which operators run Keyswap.
#[utoipa::path(get, path = "", responses(PageAnswer))]
pub async fn page(_: Anyone, request: HttpRequest, assets: Data<Assets>) -> HttpResponse {
    shown(&request, &assets.console)
}

/// Who enters.
#[derive(Deserialize, ToSchema)]
#[schema(as = ConsoleSignIn)]
#[serde(deny_unknown_fields)]
pub struct SignInBody {
    /// An API key with permissions that govern Keyswap.
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, max_length = 512)]
    key: Zeroizing<String>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// Swaps an API key for a session of the console, in a cookie. Only the console can ask.
#[utoipa::path(post, path = "", params(OfTheConsole), responses(Session, NoEntry))]
pub async fn sign_in(
    _: Anyone,
    request: HttpRequest,
    body: Json<SignInBody>,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    require(Page::Console, &request)?;
    let SignInBody { key } = body.read().await?.value;
    let signed_in = console::sign_in(&app, key.trim(), &call(&request)).await?;
    let Some(signed_in) = signed_in else { return Err(Problem::forbidden(&console::NEEDED)) };
    Ok(with_cookie(cookie::set(Page::Console, signed_in.token.expose(), signed_in.lasts)))
}

/// Ends the session of the console that asks, where it has one.
#[utoipa::path(post, path = "", params(OfTheConsole), responses(Session))]
pub async fn sign_out(_: Anyone, request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    require(Page::Console, &request)?;
    if let Some(session) = cookie::of(Page::Console, request.headers()) {
        // What could not be ended is not forgotten: only who has it can name it.
        console::sign_out(&app, session, &call(&request)).await?;
    }
    Ok(with_cookie(cookie::clear(Page::Console)))
}
