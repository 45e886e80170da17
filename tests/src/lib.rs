//! The suites that boot unmodified Linux programs on osv; see `tests/`.
