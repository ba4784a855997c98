use super::engine::Postgres;
use super::tests::{Engine as _, whole_contract};

whole_contract!(Postgres);
