"""FLOPs: the closed form by kind and convention, two independent counters, and the figures that papers print."""
