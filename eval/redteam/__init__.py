"""The red team: asks for harm in many ways, keeps what worked, and says where a model is weakest.

`techniques` are the ways of asking, `attack` asks and records, `foreign` reads what other tools found, `vulnerabilities` sorts
findings into cells and says what the next cycle should be taught.
"""
