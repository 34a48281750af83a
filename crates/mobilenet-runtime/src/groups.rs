//! Which operations run as one, and where their values lie.

use crate::arena::{Lifetime, place};
use crate::network::{Operation, OperationKind, Shape};

/// An operation's place in the list, and those that run with it.
pub(crate) struct Group {
    pub operation: usize,
    pub expansion: Option<usize>,
}

/// An expansion whose result only the depthwise convolution after it needs runs with it, where operations may run together.
pub(crate) fn groups(operations: &[Operation], together: bool) -> Vec<Group> {
    let is_expansion = |i: usize| {
        let [first, second] = [&operations[i], &operations[i + 1]];
        let is_depthwise = matches!(second.kind, OperationKind::Conv { depthwise: true, .. });
        let value = i + 1;
        let others =
            operations.iter().enumerate().filter(|&(j, op)| j != i + 1 && (op.input == value || op.add == Some(value)));
        matches!(first.kind, OperationKind::Conv { kernel: 1, stride: 1, depthwise: false, .. })
            && first.add.is_none()
            && is_depthwise
            && second.input == value
            && second.add != Some(value)
            && others.count() == 0
    };
    let mut groups = Vec::new();
    let mut i = 0;
    while i < operations.len() {
        if together && i + 1 < operations.len() && is_expansion(i) {
            groups.push(Group { operation: i + 1, expansion: Some(i) });
            i += 2;
        } else {
            groups.push(Group { operation: i, expansion: None });
            i += 1;
        }
    }
    groups
}

/// For each value the one whose memory it takes: squeeze-and-excite works in place where nobody else needs what it takes.
pub(crate) fn aliases(operations: &[Operation], groups: &[Group]) -> Vec<usize> {
    let mut aliases: Vec<usize> = (0..=operations.len()).collect();
    for group in groups {
        let operation = &operations[group.operation];
        let readers = operations.iter().filter(|op| op.input == operation.input || op.add == Some(operation.input));
        let is_in_place = operation.kind == OperationKind::SqueezeExcite && operation.input > 0 && readers.count() == 1;
        if is_in_place {
            aliases[group.operation + 1] = aliases[operation.input];
        }
    }
    aliases
}

/// Where each value begins, by lifetimes counted in groups.
pub(crate) fn places(
    operations: &[Operation],
    groups: &[Group],
    shapes: &[Shape],
    aliases: &[usize],
) -> (Vec<usize>, usize) {
    let mut lifetimes = vec![None::<Lifetime>; shapes.len()];
    let read = |lifetimes: &mut Vec<Option<Lifetime>>, value: usize, at: usize| {
        if let Some(lifetime) = &mut lifetimes[aliases[value]] {
            lifetime.read = at;
        }
    };
    for (at, group) in groups.iter().enumerate() {
        let operation = &operations[group.operation];
        let value = group.operation + 1;
        let first = &operations[group.expansion.unwrap_or(group.operation)];
        read(&mut lifetimes, first.input, at);
        if let Some(add) = operation.add {
            read(&mut lifetimes, add, at);
        }
        if aliases[value] == value {
            lifetimes[value] = Some(Lifetime { len: shapes[value].len(), made: at, read: at });
        }
    }
    read(&mut lifetimes, operations.len(), groups.len());
    let values: Vec<usize> = (0..shapes.len()).filter(|&i| lifetimes[i].is_some()).collect();
    let listed: Vec<Lifetime> = values.iter().filter_map(|&i| lifetimes[i]).collect();
    let (starts, total) = place(&listed);
    let mut all = vec![0; shapes.len()];
    values.iter().zip(starts).for_each(|(&value, start)| all[value] = start);
    (all, total)
}
