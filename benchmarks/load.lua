-- Posts one body again and again, and keeps each different answer once, for benchmarks/load.py to check.
--   BODY=file MEDIA=text/csv ANSWERS=file wrk -s benchmarks/load.lua http://127.0.0.1:8000/
local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init()
   local file = io.open(os.getenv("BODY"), "rb")
   wrk.method, wrk.body = "POST", file:read("*a")
   wrk.headers["Content-Type"] = os.getenv("MEDIA")
   file:close()
   -- "" until the first answer of this content
   seen, answers = {}, io.open(os.getenv("ANSWERS"), "wb")
end

function response(status, headers, body)
   local key = status .. " " .. (status == 200 and body or "")
   if not seen[key] then
      answers:write(status, " ", #body, "\n", body)
      answers:flush()
   end
   seen[key] = (seen[key] or 0) + 1
end

function done(summary, latency, requests)
   local statuses = {}
   for key, count in pairs(threads[1]:get("seen")) do
      local status = key:sub(1, 3)
      statuses[status] = (statuses[status] or 0) + count
   end
   for status, count in pairs(statuses) do
      io.write("status ", status, " ", count, "\n")
   end
   local errors = summary.errors
   io.write("requests ", summary.requests, "\nseconds ", summary.duration / 1e6,
      "\nbroken ", errors.connect + errors.read + errors.write + errors.timeout,
      "\np50 ", latency:percentile(50) / 1e3, "\np99 ", latency:percentile(99) / 1e3,
      "\np99.9 ", latency:percentile(99.9) / 1e3, "\n")
end
