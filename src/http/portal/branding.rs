//! `/v1/branding`.

use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        access::policy::ManageBranding,
        common::preconditions::Preconditions,
        portal::branding::{Branding, BrandingTexts, Color, Logo, SingleLineText},
    },
    http::{
        extract::{Caller, Json, Unauthenticated},
        problem::Problem,
        response::{Object, impl_resource},
    },
    service::{Services, portal::branding},
};

/// The appearance of the hosted pages.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Branding)]
pub struct BrandingBody {
    name: Option<SingleLineText>,
    logo: Option<Logo>,
    accent: Option<Color>,
    accent_dark: Option<Color>,
    texts: BrandingTexts,
    version: i64,
}

impl From<(Branding, i64)> for BrandingBody {
    fn from((branding, version): (Branding, i64)) -> Self {
        let Branding { name, logo, accent, accent_dark, texts } = branding;
        Self { name, logo, accent, accent_dark, texts, version }
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
    Json(body): Json<Branding>,
    preconditions: Preconditions,
) -> Result<Object<BrandingBody>, Problem> {
    Ok(Object(branding::put(&caller.services, &caller, body, preconditions).await?.into()))
}
