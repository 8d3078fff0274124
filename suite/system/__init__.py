"""The machine: files written in one step, hardware, environment, memory, and the installation itself."""
