//! Images, hypervisors and programs of the host: the library behind the command `osv`.
