//! The port to whatever keeps keys and values, and the one in memory.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Bound;

use super::codec::Changes;
use super::error::StoreError;

/// Gets a key and a value; ends the reading with `false`.
pub(crate) type Each<'a> = dyn FnMut(&[u8], &[u8]) -> Result<bool, StoreError> + 'a;

/// Ordered keys and values. Both implementations pass the same tests.
pub(crate) trait Backend: Debug + Send {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Reads the keys in `from..=to` in their order.
    fn scan(&self, from: &[u8], to: &[u8], each: &mut Each<'_>) -> Result<(), StoreError>;
    /// Changes all or nothing; durable when it returns.
    ///
    /// After a failure only `reopen` helps.
    fn commit(&mut self, changes: Changes) -> Result<(), StoreError>;
    /// Starts afresh after a failed commit.
    fn reopen(&mut self) -> Result<(), StoreError>;
}

/// Keys and values in memory; nothing survives the process.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    tree: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Backend for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tree.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut Each<'_>) -> Result<(), StoreError> {
        if from > to {
            return Ok(());
        }
        for (key, value) in self.tree.range::<[u8], _>((Bound::Included(from), Bound::Included(to)))
        {
            if !each(key, value)? {
                break;
            }
        }
        Ok(())
    }

    fn commit(&mut self, changes: Changes) -> Result<(), StoreError> {
        for key in &changes.removes {
            self.tree.remove(key);
        }
        self.tree.extend(changes.puts);
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
