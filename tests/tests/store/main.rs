//! The stores, judged by one suite; and what is promised of the embedded one alone.

mod crash;
mod files;
mod random;
mod sharing;
mod subject;

mod model {
    waxseal_tests::store_suite!(crate::subject::in_memory);
}

mod sqlite {
    waxseal_tests::store_suite!(crate::subject::sqlite);
}

mod postgres {
    waxseal_tests::store_suite!(crate::subject::postgres);
}
