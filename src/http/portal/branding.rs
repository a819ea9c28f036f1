//! `/v1/branding`.

use actix_web::web::Data;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{
        access::policy::ManageBranding,
        portal::branding::{Branding, BrandingTexts, Color, Logo, SingleLineText},
    },
    http::{
        extract::{
            access::{Caller, Unauthenticated},
            if_match::IfMatch,
            json::Json,
        },
        problem::Problem,
        response::{Object, impl_resource},
    },
    service::{Services, portal::branding},
};

/// The appearance of the hosted pages. Omitted fields use the defaults of Keyswap.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = BrandingPut)]
#[serde(deny_unknown_fields)]
pub struct PutBody {
    /// The name of the product, shown in the header of the page.
    name: Option<SingleLineText>,
    logo: Option<Logo>,
    /// The color of buttons and links on light pages.
    accent: Option<Color>,
    /// The color of buttons and links on dark pages.
    accent_dark: Option<Color>,
    #[serde(default)]
    texts: TextsBody,
}

/// Texts of the product, which replace those of Keyswap.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = BrandingTexts)]
#[serde(deny_unknown_fields)]
struct TextsBody {
    /// Explains the purpose of the organization's keys.
    organization_help: Option<SingleLineText>,
    /// Explains the purpose of the user's own keys.
    user_help: Option<SingleLineText>,
    /// Explains where to go when the session has ended.
    signed_out_help: Option<SingleLineText>,
}

/// The appearance of the hosted pages.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Branding)]
pub struct BrandingBody {
    name: Option<SingleLineText>,
    logo: Option<Logo>,
    accent: Option<Color>,
    accent_dark: Option<Color>,
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

impl_resource!(BrandingBody, "/v1/branding");

/// Retrieves the appearance of the hosted pages.
///
/// No authentication is required, because the hosted pages are public.
#[utoipa::path(get, path = "")]
pub async fn get(_: Unauthenticated, services: Data<Services>) -> Result<Object<BrandingBody>, Problem> {
    Ok(Object(branding::get(&services).await?.into()))
}

/// Replaces the appearance of the hosted pages.
///
/// Omitted fields use the defaults of Keyswap. Repeating a request changes nothing.
#[utoipa::path(put, path = "")]
pub async fn put(
    caller: Caller<ManageBranding>,
    Json(body): Json<PutBody>,
    IfMatch(version): IfMatch,
    services: Data<Services>,
) -> Result<Object<BrandingBody>, Problem> {
    Ok(Object(branding::put(&services, &caller, body.into(), version).await?.into()))
}
