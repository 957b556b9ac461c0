//! Build script of the Node addon: linker flags that napi needs.

fn main() {
    napi_build::setup();
}
