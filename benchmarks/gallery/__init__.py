"""Pictures of real lesions beside synthetic ones in the same scan: for looking, which no yardstick replaces."""
