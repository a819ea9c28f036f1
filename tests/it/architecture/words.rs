//! Retired names: words that were private to this project and have a standard term instead.

use super::source::{File, Sources};

/// Each retired identifier, with the term that replaced it.
const RETIRED: &[(&str, &str)] = &[
    ("Attempt", "PresentedCredential"),
    ("Behind", "Principals"),
    ("Census", "KeyStatisticsCache"),
    ("ClockWatch", "ClockMonitor"),
    ("Courier", "DeliveryWorker"),
    ("Dead", "InactiveReason"),
    ("Document", "CachedDocument"),
    ("Gather", "BatchLoader"),
    ("Holdings", "GrantablePermissions"),
    ("Home", "OwnerScope"),
    ("Incarnation", "GenerationId"),
    ("KeyFault", "CredentialError"),
    ("KeyRing", "KeyCache"),
    ("Look", "LookupDetail"),
    ("Looked", "RotationState"),
    ("Minter", "TokenSigner"),
    ("Moment", "ClockReading"),
    ("Outfit", "NewClientBundle"),
    ("Outfitted", "CreatedClientBundle"),
    ("Pace", "ClockReference"),
    ("Presented", "ParsedCredential"),
    ("Press", "KeyPublisher"),
    ("Refusal", "DenyReason"),
    ("Shift", "LookupWorker"),
    ("Spoilt", "Corrupt"),
    ("Standing", "OwnerStatus"),
    ("Takes", "AcceptedPermissions"),
    ("TokenShape", "TokenProfile"),
    ("Unkept", "NotPersisted"),
    ("Upcoming", "UpcomingStep"),
    ("Verdict", "GuardState"),
    ("Wants", "LookupDetail"),
    ("Ways", "LookupDetail"),
    ("WishedShape", "TokenProfilePatch"),
    ("Witness", "RollbackGuard"),
    ("acts_as", "on_behalf_of"),
    ("bookkeeping", "without_event"),
    ("catch_up", "refresh_if_stale"),
    ("census", "key_statistics"),
    ("courier", "delivery_worker"),
    ("forget_old", "delete_expired"),
    ("give_places", "allocate_indexes"),
    ("guessing", "brute_force"),
    ("handing_out", "find_grant_faults"),
    ("house", "architecture"),
    ("is_silent", "is_unresponsive"),
    ("judge_counted", "verify_api_key"),
    ("judge_shown", "resolve_token"),
    ("leftovers", "retention"),
    ("may_be_kept", "is_cacheable"),
    ("minters", "signers"),
    ("refusal_tick", "refusal_deadline"),
    ("renew", "replace_pool"),
    ("reseal", "re_encrypt"),
    ("stand_in", "fallback_key"),
    ("witness", "rollback_guard"),
];

#[test]
fn retired_names_are_not_used() {
    let faults: Vec<_> = Sources::read().files.values().flat_map(retired).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_retired_name_is_noticed() {
    let file = File::parse("x.rs".to_owned(), "struct Witness; fn f() { g!(KeyRing::new()); }");
    assert_eq!(retired(&file), ["x.rs: KeyRing is KeyCache", "x.rs: Witness is RollbackGuard"]);
}

fn retired(file: &File) -> Vec<String> {
    RETIRED
        .iter()
        .filter(|(name, _)| file.identifiers.contains(*name))
        .map(|(name, term)| format!("{}: {name} is {term}", file.name))
        .collect()
}
