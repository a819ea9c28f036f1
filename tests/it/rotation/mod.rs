//! The invariants I1 to I18 of the rotation, over a deployment in small: by chance over a long time with every fault, and all there is within
//! small bounds. Mutants prove that both would notice.

mod search;
mod served;
mod walk;
mod world;
