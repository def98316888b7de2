-- SPDX-License-Identifier: Apache-2.0
-- wrk: each request creates a VM with a name of its own, on the host that BENCH_HOST names.
local n = 0
local body = '{"name":"%s-%d","host":"%s","memory":{"size_bytes":134217728},'
	.. '"disks":{"root":{"size_bytes":1073741824}},"nics":{"lan":{}}}'
local headers = {
	["Content-Type"] = "application/json",
	["Authorization"] = "Bearer " .. os.getenv("BENCH_TOKEN"),
}

function request()
	n = n + 1
	return wrk.format("POST", nil, headers, body:format(os.getenv("BENCH_PREFIX"), n, os.getenv("BENCH_HOST")))
end
