//! A map in whose order nothing depends: faster than a sorted one, and the same in every run.

use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;

/// Finds a value by its key. Its hashes have no random seed, so that a run can be repeated.
#[expect(clippy::disallowed_types, reason = "its order does not depend on a random seed")]
pub(crate) type Lookup<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<DefaultHasher>>;
