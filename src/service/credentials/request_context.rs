//! The context of a request that presents a credential.

use std::net::IpAddr;

use crate::{
    domain::{
        common::id::UserId,
        events::{Actor, Origin},
    },
    service::credentials::brute_force::Source,
};

/// The context of a request: its source, its id and the client address.
#[derive(Debug, Clone)]
pub struct RequestContext {
    pub source: Source,
    pub request_id: String,
    pub address: IpAddr,
}

impl RequestContext {
    pub(crate) fn origin(&self, actor: Actor, on_behalf_of: Option<UserId>) -> Origin {
        Origin {
            actor,
            on_behalf_of,
            request_id: Some(self.request_id.clone()),
            address: Some(self.address.to_string()),
        }
    }
}
