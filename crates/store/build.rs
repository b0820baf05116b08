//! The migrations are compiled in; a new file must be seen too.

fn main() {
    println!("cargo:rerun-if-changed=../../schemas/postgresql");
}
