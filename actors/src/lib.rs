//! Every entity of NTMobile as an actix actor.
