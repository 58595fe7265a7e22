"""Stand-ins of Hailo's packages, made after what is publicly known of them: strict, and not helpful.

Put this folder on PYTHONPATH and `import hailo_sdk_client` or `hailo_platform` finds them.
"""
