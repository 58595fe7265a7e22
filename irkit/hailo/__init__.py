"""What surrounds Hailo's tools: model scripts, calibration sets, shell scripts, logs. Nothing here needs those tools."""
