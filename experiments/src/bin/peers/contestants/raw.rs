//! Nothing at all: the cable, which no tool can beat.

use super::{Contestant, Running};
use crate::failure::Failure;
use crate::site::Site;
use crate::topology::FAR;

pub(super) struct Raw;

impl Contestant for Raw {
    fn name(&self) -> &'static str {
        "raw veth"
    }

    fn probe(&self) -> Result<String, &'static str> {
        Ok("Linux's own".to_owned())
    }

    fn start(&self, _: &Site) -> Result<Running, Failure> {
        Ok(Running { processes: Vec::new(), target: FAR.to_owned() })
    }
}
