//! Applications over NTMobile, ten lines each.
