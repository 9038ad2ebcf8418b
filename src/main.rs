//! The `beadle` program.

fn main() -> std::process::ExitCode {
    beadle::cli::main(beadle::cli::Daemon {
        serve: beadle::app::run,
        sdl: beadle::graphql::sdl,
        browse: beadle::app::browse,
        guard: beadle::app::keep_guard,
    })
}
