//! A map in whose order nothing depends: faster than a sorted one, and the same in every run.

use foldhash::fast::FixedState;

/// Finds a value by its key. Its hashes have no random seed, so that a run can be repeated; so whoever
/// makes up ids to collide can make a run slow, and nothing worse.
#[expect(clippy::disallowed_types, reason = "its order does not depend on a random seed")]
pub type Lookup<K, V> = std::collections::HashMap<K, V, FixedState>;
