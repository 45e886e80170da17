-- What Lua's own libraries need of a kernel: memory, files, time, environment, other programs.
local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
print("fib", fib(20), #arg, arg[1], arg[2])

local words = {}
for word in ("the quick brown fox jumps over the lazy dog"):gmatch("%a+") do words[#words + 1] = word end
table.sort(words)
print(table.concat(words, " "))

local name = "lua-file"
local file = assert(io.open(name, "w"))
for i = 1, 1000 do file:write(i, "\n") end
file:close()
local sum = 0
for line in io.lines(name) do sum = sum + tonumber(line) end
file = io.open(name, "r+")
file:seek("set", 10)
print("sum", sum, file:read("l"), file:seek("end"))
file:close()
print(os.rename(name, name .. "2"), os.remove(name .. "2"), os.remove("missing"))

local pipe = io.popen("echo from a shell; exit 3")
print(pipe:read("a"), pipe:close())
print(os.execute("kill -9 $$"))
print(os.getenv("LANG"), os.getenv("MISSING"), os.date("!%Y-%m-%d %H:%M:%S", 1000000000))
local begin = os.clock()
local blocks = {}
for i = 1, 200 do blocks[i] = string.rep("x", 10000) .. i end
collectgarbage()
print(#blocks, #blocks[200], os.clock() >= begin, os.time() > 1700000000)

local co = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end)
print(co(), co(), co())
print(pcall(error, "thrown"))
print(string.format("%5.2f %q %x", 3.14159, "quoted\n", 255), ("x"):rep(3, ","))
io.stderr:write("to stderr\n")
os.exit(5)
