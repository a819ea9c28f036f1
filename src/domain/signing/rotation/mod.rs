//! Rotation of signing keys: `next → active → retiring → removed`, and `revoked`. It only computes
//! times. `tests/it/signing` verifies the invariants K1 to K10.

pub mod clock_monitor;
pub mod emergency;
pub mod plan;
pub mod timing;

pub use clock_monitor::{ClockJump, ClockReading};
pub use emergency::RevocationBounds;
pub use plan::{PlannedStep, RotationRules, RotationStep, WaitReason, has_key_in_state};
pub use timing::{ClockStability, RotationTiming};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::{
        common::time::{Span, Timestamp},
        signing::{Algorithm, SigningKeyMetadata, SigningKeyState},
    };
    use Algorithm::{EdDsa, Es256, Es384, Rs256};
    use SigningKeyState::{Active, Next, Retiring};

    const HOUR: RotationTiming = RotationTiming {
        verifier_cache_ttl: Span::from_secs(3600),
        replica_staleness: Span::from_secs(30),
        verifier_leeway: Span::from_secs(60),
        clock_skew: Span::from_secs(30),
        max_ttl: Span::from_secs(3600),
    };

    fn rules(configured: Algorithm, asked: &[Algorithm], period: Option<u64>) -> RotationRules {
        RotationRules {
            timing: HOUR,
            rotation_period: period.map(Span::from_secs),
            configured_algorithms: [configured].into(),
            audience_algorithms: asked.iter().copied().collect(),
            stable_since: ClockStability::NO_JUMP,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    /// Returns a key that was published, and reached its state, at 1 s.
    fn key(algorithm: Algorithm, state: SigningKeyState) -> SigningKeyMetadata {
        SigningKeyMetadata {
            kid: format!("{:A<43}", format!("{algorithm}{}", state.as_str())).parse().unwrap(),
            algorithm,
            state,
            published_at: at(1),
            seen_at: Some(at(1)),
            activated_at: (state != Next).then(|| at(1)),
            retired_at: (state == Retiring).then(|| at(1)),
            removed_at: None,
            destroyed_at: None,
            longest_ttl: Span::ZERO,
            version: 1,
        }
    }

    fn steps(rules: &RotationRules, keys: &[SigningKeyMetadata], now: Timestamp) -> Vec<(i64, String)> {
        let time_and_step = |planned: PlannedStep| {
            let step = format!("{:?}", planned.step);
            (planned.at.seconds(), step.replace(['A', '"'], "").replace("SigningKeyId", ""))
        };
        rules.plan(keys, now).into_iter().map(time_and_step).collect()
    }

    #[test]
    fn a_new_deployment_waits_for_its_period_and_then_hands_over() {
        let rules = rules(Es256, &[], Some(10_000));
        let (active, next) = (key(Es256, Active), key(Es256, Next));
        let planned = rules.plan(&[active.clone(), next.clone()], at(5));
        let step = RotationStep::Activate(next.kid.clone());
        assert_eq!(planned, [PlannedStep { at: at(10_001), step: step.clone(), waits_for: WaitReason::Period }]);
        let planned = rules.plan(&[active, next], at(10_001));
        assert_eq!(planned, [PlannedStep { at: at(10_001), step, waits_for: WaitReason::Due }]);
    }

    #[test]
    fn nothing_rotates_by_itself_without_a_period() {
        assert!(rules(Es256, &[], None).plan(&[key(Es256, Active), key(Es256, Next)], at(1_000_000)).is_empty());
    }

    #[test]
    fn a_key_signs_without_a_period_if_no_other_does() {
        let next = key(Es256, Next);
        let planned = rules(Es256, &[], None).plan(std::slice::from_ref(&next), at(5));
        let step = RotationStep::Activate(next.kid);
        assert_eq!(planned, [PlannedStep { at: at(3661), step, waits_for: WaitReason::Verifiers }]);
    }

    #[test]
    fn the_longer_of_two_delays_is_reported() {
        let keys = [key(Es256, Active), key(Es256, Next)];
        for (period, due, expected) in
            [(3659, 3661, WaitReason::Verifiers), (3660, 3661, WaitReason::Verifiers), (3661, 3662, WaitReason::Period)]
        {
            let planned = rules(Es256, &[], Some(period)).plan(&keys, at(5));
            assert_eq!((planned[0].at, planned[0].waits_for), (at(due), expected), "{period}");
        }
    }

    #[test]
    fn every_step_has_a_name_and_all_except_a_publication_a_key() {
        let kid = key(Es256, Next).kid;
        for (step, name) in [
            (RotationStep::ConfirmPublication(kid.clone()), "see"),
            (RotationStep::Activate(kid.clone()), "activate"),
            (RotationStep::Retire(kid.clone()), "retire"),
            (RotationStep::DestroyPrivateKey(kid.clone()), "destroy_private_half"),
            (RotationStep::Remove(kid.clone()), "remove"),
        ] {
            assert_eq!((step.as_str(), step.kid()), (name, Some(&kid)));
        }
        let publication = RotationStep::Publish(Es256);
        assert_eq!((publication.as_str(), publication.kid()), ("publish", None));
    }

    #[test]
    fn propagation_delay_starts_when_the_publication_is_confirmed() {
        let (active, mut next) = (key(Es256, Active), key(Es256, Next));
        next.seen_at = None;
        let rules = rules(Es256, &[], Some(10));
        let planned = rules.plan(&[active.clone(), next.clone()], at(100_000));
        assert_eq!(planned[0].step, RotationStep::ConfirmPublication(next.kid.clone()));
        next.seen_at = Some(at(100_000));
        let planned = rules.plan(&[active, next], at(100_000));
        assert_eq!((planned[0].at, planned[0].waits_for), (at(103_660), WaitReason::Verifiers));
    }

    #[test]
    fn a_change_of_the_algorithm_is_a_rotation_with_both_published() {
        let rules = rules(EdDsa, &[], Some(1_000_000));
        let (old, old_next, new) = (key(Es256, Active), key(Es256, Next), key(EdDsa, Next));
        let seen = |keys: &[SigningKeyMetadata], now| steps(&rules, keys, now);
        assert_eq!(seen(std::slice::from_ref(&old), at(5)), [(5, "Publish(EdDsa)".to_owned())]);
        // The old key signs until the new one may. Its successor never signed and is not needed.
        let planned = rules.plan(&[old.clone(), old_next.clone(), new.clone()], at(5));
        assert_eq!(planned[0].step, RotationStep::Remove(old_next.kid.clone()));
        assert_eq!((planned[1].at, &planned[1].step), (at(3661), &RotationStep::Activate(new.kid.clone())));
        assert_eq!(planned.len(), 2);
        let by_hand = RotationRules { rotation_period: None, ..rules.clone() };
        assert!(by_hand.plan(&[old.clone(), new.clone()], at(9000)).is_empty(), "a rotation by command is awaited");
        let signs = key(EdDsa, Active);
        assert_eq!(rules.plan(&[old.clone(), signs, new], at(4000))[0].step, RotationStep::Retire(old.kid));
    }

    #[test]
    fn audience_algorithm_is_activated_automatically_and_kept() {
        let rules = rules(Es256, &[Rs256, Es384], Some(1_000_000));
        let keys = [key(Es256, Active), key(Es256, Next), key(Rs256, Active), key(Rs256, Next), key(Es384, Next)];
        let planned = rules.plan(&keys, at(3660));
        assert_eq!((planned[0].at, &planned[0].step), (at(3661), &RotationStep::Activate(keys[4].kid.clone())));
        assert!(
            planned.iter().all(|planned| !matches!(planned.step, RotationStep::Retire(_) | RotationStep::Remove(_)))
        );
    }

    #[test]
    fn retired_key_is_destroyed_and_then_removed() {
        let rules = rules(Es256, &[], None);
        let mut old = key(Es256, Retiring);
        old.longest_ttl = Span::from_secs(7200);
        let keys = [key(Es256, Active), key(Es256, Next), old.clone()];
        let planned = rules.plan(&keys, at(2));
        let expected = [
            (at(61), RotationStep::DestroyPrivateKey(old.kid.clone()), WaitReason::Replicas),
            (at(7321), RotationStep::Remove(old.kid.clone()), WaitReason::Tokens),
        ];
        let found: Vec<_> = planned.into_iter().map(|one| (one.at, one.step, one.waits_for)).collect();
        assert_eq!(found, expected);
        old.destroyed_at = Some(at(61));
        assert_eq!(rules.plan(&[key(Es256, Active), key(Es256, Next), old], at(62)).len(), 1);
    }

    #[test]
    fn every_wait_restarts_after_a_clock_jump() {
        let mut rules = rules(Es256, &[], Some(10));
        let keys = [key(Es256, Active), key(Es256, Next), key(Es384, Retiring)];
        assert!(rules.plan(&keys, at(50_000)).iter().all(|planned| planned.waits_for == WaitReason::Due));
        // A forward jump, detected at 50,000 s.
        rules.stable_since.stable_since = at(50_000);
        let planned = rules.plan(&keys, at(50_001));
        assert_eq!(planned.iter().map(|one| one.at).collect::<Vec<_>>(), [at(50_060), at(53_660), at(53_720)]);
        // A backward jump: a time that was written ahead of `now` counts from the detection of the
        // jump.
        let mut next = key(Es256, Next);
        next.seen_at = Some(at(90_000));
        assert_eq!(rules.activation_time(&next, at(50_010)), Some(at(53_660)));
        // The jump is not detected yet: no part of the delay has elapsed.
        rules.stable_since.stable_since = at(90_000);
        assert_eq!(rules.activation_time(&next, at(50_010)), Some(at(53_670)));
        rules.stable_since = ClockStability::NO_JUMP;
        assert_eq!(rules.activation_time(&next, at(50_010)), Some(at(53_670)));
        // Within the clock skew: the time counts as it is written.
        next.seen_at = Some(at(50_040));
        assert_eq!(rules.activation_time(&next, at(50_010)), Some(at(53_700)));
        // The clock showed a later time before: the reader detects the jump.
        let skew = Span::from_secs(30);
        assert_eq!(ClockStability::NO_JUMP.after_reading(at(50_040), at(50_010), skew), ClockStability::NO_JUMP);
        assert_eq!(
            ClockStability::NO_JUMP.after_reading(at(50_041), at(50_010), skew),
            ClockStability { stable_since: at(50_010) }
        );
    }

    #[test]
    fn the_stricter_setting_holds() {
        let other = RotationTiming { verifier_cache_ttl: Span::from_secs(60), max_ttl: Span::from_secs(9000), ..HOUR };
        let both = HOUR.strictest(other);
        assert_eq!((both, both), (other.strictest(HOUR), RotationTiming { max_ttl: Span::from_secs(9000), ..HOUR }));
    }

    #[test]
    fn replica_is_retained_until_its_last_token_expires() {
        // Its last report was 10 s before the disconnection, it signs for 30 s, and its tokens live
        // for an hour and a minute of leeway.
        assert_eq!(HOUR.replica_retention(), Span::from_secs(10 + 30 + 3600 + 60 + 30));
    }

    #[test]
    fn revocation_bounds_include_every_delay() {
        let mut revoked = key(Es256, Active);
        revoked.longest_ttl = Span::from_secs(7200);
        let bounds = HOUR.revocation_bounds(&revoked, at(1000), at(1000));
        assert_eq!(bounds.unpublished_by, at(1060));
        assert_eq!(bounds.accepted_until, at(4660));
        assert_eq!(bounds.last_token_ends, at(8350));
        assert_eq!(bounds.successor_known_by, at(4660));
        assert_eq!(HOUR.revocation_bounds(&revoked, at(9000), at(1)).successor_known_by, at(9000));
    }

    #[test]
    fn nothing_is_planned_twice() {
        let keys: Vec<_> =
            [Es256, EdDsa].into_iter().flat_map(|one| [key(one, Active), key(one, Next), key(one, Retiring)]).collect();
        let planned = rules(Es256, &[], Some(5)).plan(&keys, at(1_000_000));
        let unique: BTreeSet<_> = planned.iter().map(|one| one.step.clone()).collect();
        assert_eq!(unique.len(), planned.len());
    }
}
