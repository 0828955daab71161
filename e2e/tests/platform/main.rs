//! Stories in which parts of Thaw or of the cluster go away. They disturb every Function of the cluster: nothing else may run beside
//! them, and they run one after the other, in the order of their names.

mod gateway;
mod killed;
mod leaders;
mod narrowed;
mod upgraded;
mod used_rights;
