//! A program's environment, as it is being put together.

use alloc::vec::Vec;

/// Variables, each as `NAME=VALUE`, in the order in which they were first set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(Vec<Vec<u8>>);

impl Environment {
    /// What was handed over from elsewhere, as it is.
    pub fn from_strings(strings: Vec<Vec<u8>>) -> Environment {
        Environment(strings)
    }

    /// `NAME=VALUE` sets a variable, `NAME?=VALUE` one that is not set yet.
    pub fn assign(&mut self, assignment: &[u8]) {
        let end = assignment.iter().position(|&byte| byte == b'=').unwrap_or(assignment.len());
        let (name, value) = assignment.split_at(end);
        match name.strip_suffix(b"?") {
            Some(name) if self.get(name).is_some() => {}
            Some(name) => self.0.push([name, value].concat()),
            None => self.replace(name, assignment),
        }
    }

    fn replace(&mut self, name: &[u8], assignment: &[u8]) {
        match self.0.iter_mut().find(|variable| value_of(variable, name).is_some()) {
            Some(variable) => *variable = assignment.to_vec(),
            None => self.0.push(assignment.to_vec()),
        }
    }

    /// The value of a variable.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.iter().find_map(|variable| value_of(variable, name))
    }

    /// Takes over the variables of `other`, which count more than the own ones.
    pub fn extend(&mut self, other: &Environment) {
        for variable in &other.0 {
            self.assign(variable);
        }
    }

    /// All variables.
    pub fn strings(&self) -> &[Vec<u8>] {
        &self.0
    }
}

fn value_of<'a>(variable: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    variable.strip_prefix(name)?.strip_prefix(b"=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_set_once() {
        let mut environment = Environment::default();
        for assignment in ["A=1", "AB=2", "A?=3", "C?=4", "A=5"] {
            environment.assign(assignment.as_bytes());
        }
        assert_eq!(environment.strings(), [&b"A=5"[..], b"AB=2", b"C=4"]);
        assert_eq!(environment.get(b"AB"), Some(&b"2"[..]));
        assert_eq!(environment.get(b"B"), None);
    }
}
