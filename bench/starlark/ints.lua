local function small(n)
    local total = 0
    for i = 0, n - 1 do
        for j = 0, 999 do
            total = (total + i * j) % 65537
            if total > 60000 then total = total - j end
        end
    end
    return total
end
local function large(n)
    local x, y = 12345678901, 987654321
    for i = 0, n - 1 do
        for j = 0, 999 do
            x = (x * 3 + y + j) % 1000000007000
            y = (y ~ x) & 0xffffffffff
            y = y + i - j
        end
    end
    return x + y
end
print(small(2000))
print(large(2000))
