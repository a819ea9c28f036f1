//! `/v1/branding`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        branding::{Branding, BrandingTexts, Colour, Line, Logo},
        policy::ManageBranding,
    },
    http::{
        access::{Anyone, Caller},
        openapi::{answers::Object, params::IfMatch},
        problem::Problem,
    },
    service::{App, branding},
};

use super::{
    json::Json,
    object,
    params::{Query, if_match},
};

/// How the hosted pages shall look; what is left out looks as Keyswap does.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = BrandingPut)]
#[serde(deny_unknown_fields)]
pub struct PutBody {
    /// The product's name, in the bar of the page.
    #[serde(default)]
    name: Option<Line>,
    #[serde(default)]
    logo: Option<Logo>,
    /// Of buttons and links on light pages.
    #[serde(default)]
    accent: Option<Colour>,
    /// The same on dark ones.
    #[serde(default)]
    accent_dark: Option<Colour>,
    #[serde(default)]
    texts: TextsBody,
}

/// The product's own words, in place of Keyswap's.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = BrandingTexts)]
#[serde(deny_unknown_fields)]
struct TextsBody {
    /// What the organization's keys are for.
    #[serde(default)]
    organization_help: Option<Line>,
    /// What the own keys are for.
    #[serde(default)]
    user_help: Option<Line>,
    /// Where to go when the session has ended.
    #[serde(default)]
    signed_out_help: Option<Line>,
}

/// How the hosted pages look.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Branding)]
pub struct BrandingBody {
    name: Option<Line>,
    logo: Option<Logo>,
    accent: Option<Colour>,
    accent_dark: Option<Colour>,
    texts: TextsBody,
    version: i64,
}

impl From<PutBody> for Branding {
    fn from(PutBody { name, logo, accent, accent_dark, texts }: PutBody) -> Self {
        let TextsBody { organization_help, user_help, signed_out_help } = texts;
        Self { name, logo, accent, accent_dark, texts: BrandingTexts { organization_help, user_help, signed_out_help } }
    }
}

impl From<(Branding, i64)> for BrandingBody {
    fn from((branding, version): (Branding, i64)) -> Self {
        let Branding { name, logo, accent, accent_dark, texts } = branding;
        let BrandingTexts { organization_help, user_help, signed_out_help } = texts;
        Self {
            name,
            logo,
            accent,
            accent_dark,
            texts: TextsBody { organization_help, user_help, signed_out_help },
            version,
        }
    }
}

/// How the hosted pages look: everyone who may see them may see it.
#[utoipa::path(get, path = "", responses(Object<BrandingBody>))]
pub async fn get(_: Anyone, request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    Query::of(&request, &[])?;
    let branding = branding::get(&app).await?;
    Ok(object(branding.1, &BrandingBody::from(branding)))
}

/// Says how the hosted pages look, whole: what is left out looks as Keyswap does. The same put again changes nothing.
#[utoipa::path(put, path = "", params(IfMatch), responses(Object<BrandingBody>))]
pub async fn put(
    caller: Caller<ManageBranding>,
    request: HttpRequest,
    body: Json<PutBody>,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let body = body.read().await?.value;
    Query::of(&request, &[])?;
    let branding = branding::put(&app, &caller.identity, body.into(), if_match(&request)?).await?;
    Ok(object(branding.1, &BrandingBody::from(branding)))
}
