-- Put up a worker's report, drop those that have expired, and leave the word of all in one plain key.
local STATUS, WORKERS = KEYS[1], KEYS[2]
local report = cjson.decode(ARGV[2])

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local last, heard = 0, {}
for _, text in ipairs(redis.call('HVALS', WORKERS)) do
  local other = cjson.decode(text)
  if tonumber(other.until_us) <= now or other.worker_id == report.worker_id then
    redis.call('HDEL', WORKERS, other.worker_id)
  else
    heard[#heard + 1] = other
  end
  last = math.max(last, other.number)
end

if report.status ~= 'Offline' then
  report.number = last + 1
  -- As text: cjson writes 14 digits of a number, and these have 16.
  report.seen_us, report.until_us = string.format('%.0f', now), string.format('%.0f', now + report.ttl_us)
  redis.call('HSET', WORKERS, report.worker_id, cjson.encode(report))
  heard[#heard + 1] = report
end

local word = nil
for _, other in ipairs(heard) do
  local louder = not word or (word.status == 'Idle') ~= (other.status == 'Idle') and word.status == 'Idle'
  local later = word and (word.status == 'Idle') == (other.status == 'Idle') and other.number > word.number
  if louder or later then
    word = other
  end
end
if word then
  redis.call('SET', STATUS, word.status, 'PX', math.max(1, math.ceil((tonumber(word.until_us) - now) / 1000)))
else
  redis.call('DEL', STATUS)
end
return 'OK'
