"""Those who run containers for the engine: `protocol` says what is asked of them, `supervisor` is ours."""
