"""The subcommands of `headway-emulator`, one module each; each is imported only when it is called."""
