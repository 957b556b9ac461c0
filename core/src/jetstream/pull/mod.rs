//! Pull consumers: the requests, what their answers mean, and the state machines that decide when to ask.

mod accounting;
mod alarm;
mod channel;
mod consume;
mod desk;
mod fetch;
mod flow;
mod handed;
mod ledger;
mod options;
mod status;

pub use self::consume::{Consumption, JsTaken};
pub use self::fetch::Fetch;
pub use self::options::{ConsumeOptions, FetchOptions, Priority};

pub(crate) use self::accounting::{Accounting, Bound, Plan, Pull};
pub(crate) use self::alarm::Alarm;
pub(crate) use self::channel::{Channel, Request, Told};
pub(crate) use self::fetch::{Pool, PoolOwner};
pub(crate) use self::handed::Handed;
pub(crate) use self::options::{bounded, maybe_seconds};
pub(crate) use self::status::Verdict;
