use super::*;

fn set(key: i32, count: i32) -> Arc<Set> {
    SETS.find(get(key, count, 0o1600, &Credentials::root()).unwrap()).unwrap()
}

fn operation(number: u16, change: i16, flags: u16) -> Operation {
    Operation { number, change, flags }
}

const NO_WAIT: u16 = 0o4000;
const UNDO: u16 = 0x1000;

fn operate_on(set: &Set, list: &Arc<undo::UndoList>, operations: &[Operation]) -> Result<()> {
    operate(set.header.id(), operations.to_vec(), None, &Credentials::root(), || Arc::clone(list))
}

#[test]
fn operations_happen_all_or_not_at_all() {
    let (set, list) = (set(2001, 2), undo::UndoList::new());
    operate_on(&set, &list, &[operation(0, 3, 0), operation(1, 1, 0)]).unwrap();
    let too_much = [operation(0, -2, NO_WAIT), operation(1, -2, NO_WAIT)];
    assert_eq!(operate_on(&set, &list, &too_much), Err(Errno::EAGAIN));
    assert_eq!(set.values().unwrap(), [3, 1]);
    // Each sees what those before it did.
    operate_on(&set, &list, &[operation(0, -3, 0), operation(0, 0, 0), operation(0, 5, 0)]).unwrap();
    assert_eq!(set.values().unwrap(), [5, 1]);
    assert_eq!(operate_on(&set, &list, &[operation(0, 32767, 0)]), Err(Errno::ERANGE));
    assert_eq!(operate_on(&set, &list, &[operation(2, 1, 0)]), Err(Errno::EFBIG));
    assert_eq!(operate_on(&set, &list, &[]), Err(Errno::EINVAL));
    set.remove();
    assert_eq!(operate_on(&set, &list, &[operation(0, 1, 0)]), Err(Errno::EINVAL));
}

#[test]
fn the_end_gives_back() {
    let set = set(2002, 2);
    let (list, other) = (undo::UndoList::new(), undo::UndoList::new());
    operate_on(&set, &list, &[operation(0, 5, UNDO), operation(1, 4, UNDO)]).unwrap();
    operate_on(&set, &other, &[operation(1, -3, UNDO)]).unwrap();
    // A failed attempt leaves no trace.
    assert_eq!(operate_on(&set, &list, &[operation(0, 1, UNDO), operation(1, -9, NO_WAIT)]), Err(Errno::EAGAIN));
    drop(list);
    assert_eq!(set.values().unwrap(), [0, 0]);
    drop(other);
    assert_eq!(set.values().unwrap(), [0, 3]);
    set.remove();
}

#[test]
fn setting_a_value_forgets_what_was_to_be_given_back() {
    let (set, list) = (set(2003, 1), undo::UndoList::new());
    operate_on(&set, &list, &[operation(0, 5, UNDO)]).unwrap();
    set.set_value(0, 7).unwrap();
    drop(list);
    assert_eq!(set.values().unwrap(), [7]);
    assert_eq!(set.set_value(0, 32768), Err(Errno::ERANGE));
    assert_eq!(set.set_value(0, -1), Err(Errno::ERANGE));
    assert_eq!(set.set_value(1, 0), Err(Errno::EINVAL));
    assert_eq!(set.set_values(&[40000]), Err(Errno::ERANGE));
    set.remove();
}

#[test]
fn sets_have_sizes() {
    let root = Credentials::root();
    assert_eq!(get(2004, 0, 0o1600, &root), Err(Errno::EINVAL));
    assert_eq!(get(2004, -1, 0o1600, &root), Err(Errno::EINVAL));
    assert_eq!(get(2004, 32001, 0o1600, &root), Err(Errno::EINVAL));
    let set = set(2004, 2);
    assert_eq!(get(2004, 3, 0, &root), Err(Errno::EINVAL));
    assert_eq!(get(2004, 0, 0, &root), Ok(set.header.id()));
    set.remove();
}
