-- Posts one body again and again, and keeps each different answer once, for benchmarks/load.py to check.
--   BODY=file MEDIA=text/csv ANSWERS=file wrk -s benchmarks/load.lua http://127.0.0.1:8000/
-- With TURN, in seconds, it sends in turns alone: from BEGIN + (PLACE + round * PLACES) * TURN on, CLOCK_MONOTONIC,
-- for half a turn, whose other half is for what is still to be answered; ROUNDS times. Counted are all answers,
-- until the last: so long the server is at work, and nothing that it has done is left out.
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
   -- of each round: how many answers came, and how long after the turn's begin the last of them
   counts, lasts, late, sent = {}, {}, 0, 0
end

function response(status, headers, body)
   local key = status .. " " .. (status == 200 and body or "")
   if not seen[key] then
      answers:write(status, " ", #body, "\n", body)
      answers:flush()
   end
   seen[key] = (seen[key] or 0) + 1
end

if os.getenv("TURN") then
   local ffi = require("ffi")
   ffi.cdef("typedef struct {long s; long ns;} moment; int clock_gettime(int, moment *);")
   local CLOCK_MONOTONIC, NEVER_MS = 1, 1e6
   local turn, begin = tonumber(os.getenv("TURN")), tonumber(os.getenv("BEGIN"))
   local place, places = tonumber(os.getenv("PLACE")), tonumber(os.getenv("PLACES"))
   local rounds = tonumber(os.getenv("ROUNDS"))
   local moment, keep = ffi.new("moment"), response

   -- The round, and the seconds since this load's turn in it began.
   local function now()
      ffi.C.clock_gettime(CLOCK_MONOTONIC, moment)
      local since = tonumber(moment.s) + tonumber(moment.ns) * 1e-9 - begin - place * turn
      local round = math.floor(since / (places * turn))
      return round, since - round * places * turn
   end

   -- wrk asks it before each request how many milliseconds to wait.
   function delay()
      local round, since = now()
      local sending = since < turn / 2
      if round >= rounds or round == rounds - 1 and not sending then
         return NEVER_MS
      end
      if round >= 0 and sending then
         sent = sent + 1
         return 0
      end
      local next_round = math.max(round + 1, 0)
      -- wrk cuts off parts of a millisecond, and would begin too early.
      sent = sent + 1
      return math.ceil(((next_round - round) * places * turn - since) * 1000) + 1
   end

   function response(status, headers, body)
      local round, since = now()
      counts[round] = (counts[round] or 0) + (status == 200 and 1 or 0)
      lasts[round] = since
      late = late + (since > turn and 1 or 0)
      keep(status, headers, body)
   end
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
   local counts, lasts = threads[1]:get("counts"), threads[1]:get("lasts")
   for number, count in pairs(counts) do
      io.write("turn ", number, " ", count, " ", lasts[number], "\n")
   end
   local errors = summary.errors
   io.write("requests ", summary.requests, "\nseconds ", summary.duration / 1e6,
      "\nbroken ", errors.connect + errors.read + errors.write + errors.timeout,
      "\nlate ", threads[1]:get("late"), "\nsent ", threads[1]:get("sent"),
      "\np50 ", latency:percentile(50) / 1e3, "\np99 ", latency:percentile(99) / 1e3,
      "\np99.9 ", latency:percentile(99.9) / 1e3, "\n")
end
