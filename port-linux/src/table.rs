//! What is kept beside connections, by their handles: found and removed in one step, and never another one's, which has come to the same
//! slot since.

use mpt_proto::Handle;

/// See the module.
#[derive(Debug)]
pub struct Table<T> {
    places: Vec<Option<(Handle, T)>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { places: Vec::new() }
    }
}

impl<T> Table<T> {
    /// What is kept of this connection.
    pub fn get(&self, handle: Handle) -> Option<&T> {
        let (owner, value) = self.places.get(handle.index())?.as_ref()?;
        (*owner == handle).then_some(value)
    }

    /// What is kept of this connection, to be changed.
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let (owner, value) = self.places.get_mut(handle.index())?.as_mut()?;
        (*owner == handle).then_some(value)
    }

    /// Keeps this of a connection that is there.
    pub fn insert(&mut self, handle: Handle, value: T) -> &mut T {
        let index = handle.index();
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        &mut self.places[index].insert((handle, value)).1
    }

    /// Forgets it.
    pub fn remove(&mut self, handle: Handle) -> Option<T> {
        self.get(handle)?;
        self.places.get_mut(handle.index())?.take().map(|(_, value)| value)
    }
}

impl<T: Default> Table<T> {
    /// What is kept of a connection that is there, from now on at least.
    pub fn entry(&mut self, handle: Handle) -> &mut T {
        if self.get(handle).is_none() {
            return self.insert(handle, T::default());
        }
        &mut self.places[handle.index()].get_or_insert_with(|| (handle, T::default())).1
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Handles for tests.

    use mpt_proto::{Endpoint, Handle, Slot};

    /// Those of this many connections, in a row.
    pub(crate) fn handles(count: usize) -> Vec<Handle> {
        let mut endpoint = Endpoint::new(Vec::<Slot<()>>::new());
        endpoint.add_slots(count);
        (0..count).map(|_| endpoint.insert(()).expect("room")).collect()
    }

    /// Two that were in the same slot, the later one last.
    pub(crate) fn successors() -> [Handle; 2] {
        let mut endpoint = Endpoint::new([Slot::<()>::default()]);
        [(); 2].map(|()| {
            let handle = endpoint.insert(()).expect("room");
            endpoint.remove(handle);
            handle
        })
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{handles, successors};
    use super::*;

    #[test]
    fn what_is_kept_of_one_that_went_is_not_found_by_who_came_after_it_nor_the_other_way_round() {
        let mut table = Table::default();
        let [before, after] = successors();
        *table.entry(before) = 7;
        assert_eq!((table.get(before), table.get(after)), (Some(&7), None));
        *table.entry(after) += 1;
        assert_eq!((table.get(before), table.get(after)), (None, Some(&1)));
        assert_eq!((table.remove(before), table.get_mut(before)), (None, None));
        assert_eq!((table.remove(after), table.remove(after)), (Some(1), None));
    }

    #[test]
    fn many_are_kept_apart() {
        let (mut table, handles) = (Table::default(), handles(50));
        handles.iter().rev().enumerate().for_each(|(number, handle)| _ = table.insert(*handle, number));
        assert!(handles.iter().rev().enumerate().all(|(number, handle)| table.get(*handle) == Some(&number)));
    }
}
