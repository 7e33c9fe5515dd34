//! Those who wish the network ill, on the bench: everything they send is counted and dropped, nothing breaks, nothing that was
//! acknowledged changes, and memory stays bounded.
//!
//! | file | subject |
//! | --- | --- |
//! | `strangers` | who holds no key: garbage, and captured messages as they were or spoilt |
//! | `members` | who holds a key and asks for more than its share |
//! | `crowds` | the same, where what is full is shared out |

mod crowds;
mod members;
mod strangers;

const ALICE: &str = "alice.u1.example";
const BOB: &str = "bob.u2.example";
