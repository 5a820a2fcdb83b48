//! Says that the sources are built for sqlx 0.8.

fn main() {
    println!("cargo::rustc-cfg=sqlx_08");
}
