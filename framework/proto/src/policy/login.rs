//! In which order a node asks whom for its key.

/// What a node that wants to log in knows so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LoginKnowledge {
    /// It holds a K_ntmdc whose lifetime has not passed.
    pub has_current_key: bool,
    /// It knows its node name and domain, from this login or an earlier one.
    pub knows_domain: bool,
    /// It knows where its DC is.
    pub knows_dc: bool,
}

/// The next step of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginStep {
    /// *Login Request* to the AS.
    AskAccountServer,
    /// *Initial Data Request* to the AS.
    AskInitialData,
    /// Look the DC up in DNS.
    FindDirectionCoordinator,
    /// *Login Request* to the DC, with the account's credential or, if there is one, under the current key.
    AskDirectionCoordinator,
    /// The key is at hand: register.
    Register,
}

/// A way to log in.
pub trait LoginStrategy: Send + Sync {
    /// Its name in scenario files.
    fn name(&self) -> &'static str;

    /// What to do next; called again after each step has succeeded, with `logged_in` once a Login Response of this process came.
    fn next(&self, known: LoginKnowledge, logged_in: bool) -> LoginStep;
}
