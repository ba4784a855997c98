use super::reader::Section;
use super::secret;
use crate::token::Secret;

/// Shortest admin credential.
const CREDENTIAL_LENGTH_MIN: usize = 20;

/// The operator's console.
#[derive(Debug, Default)]
pub struct Console {
    /// What opens it; without one there is no console. Default: not set.
    pub credential: Option<Secret>,
}

impl Console {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let path = section.path("credential");
        let Some(node) = section.take("credential") else { return Self::default() };
        let place = node.place.clone();
        let credential = secret::read(section.context, &path, node);
        let plain = |secret: &Secret| {
            let text = secret.expose();
            text.len() >= CREDENTIAL_LENGTH_MIN && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if credential.as_ref().is_some_and(|secret| !plain(secret)) {
            section.context.problem(
                place,
                format!(
                    "`{path}` must have at least {CREDENTIAL_LENGTH_MIN} visible ASCII characters"
                ),
            );
        }
        Self { credential }
    }
}
