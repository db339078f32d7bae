/// The parts of an expression, and the reader of what `Pattern` may be written in.
///
/// Knows nothing of how they are matched.

indirect enum PatternNode {
    case character(UInt32)
    case any
    case one(Int)
    case start
    case end
    case boundary
    case same(Int)
    case sequence([PatternNode])
    case choice([PatternNode])
    case group(Int, PatternNode)
    case look(ahead: Bool, negated: Bool, PatternNode)
    case repeated(PatternNode, least: Int, most: Int, possessive: Bool)

    /// How many characters it takes, where that is always the same.
    var width: Int {
        switch self {
        case .character, .any, .one: return 1
        case .sequence(let nodes): return nodes.reduce(0) { $0 + $1.width }
        case .choice(let nodes): return nodes.first?.width ?? 0
        case .group(_, let inner): return inner.width
        default: return 0
        }
    }

    func firsts(_ classes: [CharacterClass]) -> Firsts {
        switch self {
        case .character(let point):
            if point > 0x7f { return Firsts(others: true) }
            return Firsts(low: point < 64 ? (1 << UInt64(point), 0) : (0, 1 << UInt64(point - 64)))
        case .any: return .all
        case .one(let set): return Firsts(low: classes[set].low, others: true)
        case .start, .end, .boundary, .same: return Firsts(passes: true)
        case .look(let ahead, let negated, let inner):
            return ahead && !negated ? inner.firsts(classes) : Firsts(passes: true)
        case .group(_, let inner): return inner.firsts(classes)
        case .choice(let nodes): return nodes.reduce(Firsts()) { $0.with($1.firsts(classes)) }
        case .repeated(let inner, let least, _, _):
            var first = inner.firsts(classes)
            first.passes = first.passes || least == 0
            return first
        case .sequence(let nodes):
            var all = Firsts(passes: true)
            for node in nodes where all.passes {
                all.passes = false
                all = all.with(node.firsts(classes))
            }
            return all
        }
    }
}

struct PatternParser {
    private let source: Text
    private let ascii: Bool
    private let ignoringCase: Bool
    private var at = 0
    private(set) var classes: [CharacterClass] = []
    private(set) var groups = 0

    init(_ source: String, ascii: Bool, ignoringCase: Bool) {
        self.source = Text(source)
        self.ascii = ascii
        self.ignoringCase = ignoringCase
    }

    mutating func whole() -> PatternNode {
        let tree = choice()
        precondition(at == source.count, "an expression goes on behind its end")
        return tree
    }

    private func peek(_ character: Unicode.Scalar) -> Bool { at < source.count && source[at] == character.value }

    private mutating func took(_ said: String) -> Bool {
        guard source.holds(Text(said), at: at) else { return false }
        at += said.unicodeScalars.count
        return true
    }

    private mutating func next() -> UInt32 {
        precondition(at < source.count, "an expression breaks off")
        at += 1
        return source[at - 1]
    }

    private mutating func choice() -> PatternNode {
        var nodes = [sequence()]
        while took("|") { nodes.append(sequence()) }
        return nodes.count == 1 ? nodes[0] : .choice(nodes)
    }

    private mutating func sequence() -> PatternNode {
        var nodes: [PatternNode] = []
        while at < source.count, !peek("|"), !peek(")") { nodes.append(repeated(atom())) }
        return nodes.count == 1 ? nodes[0] : .sequence(nodes)
    }

    private mutating func atom() -> PatternNode {
        if took("(") { return group() }
        if took("[") { return set() }
        if took("\\") { return escape() }
        if took(".") { return .any }
        if took("^") { return .start }
        if took("$") { return .end }
        return literal(next())
    }

    private mutating func literal(_ point: UInt32) -> PatternNode {
        guard ignoringCase else { return .character(point) }
        var set = CharacterClass(ascii: ascii)
        set.add(point...point, ignoringCase: true)
        return close(set, negated: false)
    }

    private mutating func group() -> PatternNode {
        let node: PatternNode
        if took("?:") {
            node = choice()
        } else if took("?=") {
            node = .look(ahead: true, negated: false, choice())
        } else if took("?!") {
            node = .look(ahead: true, negated: true, choice())
        } else if took("?<!") {
            node = .look(ahead: false, negated: true, choice())
        } else {
            precondition(!peek("?"), "an expression has a group of a kind that is not known")
            groups += 1
            let number = groups
            node = .group(number, choice())
        }
        precondition(took(")"), "an expression has a group without an end")
        return node
    }

    private mutating func escape() -> PatternNode {
        let point = next()
        if (0x31...0x39).contains(point) { return .same(Int(point - 0x30)) }
        if point == 0x62 { return .boundary }
        var set = CharacterClass(ascii: ascii)
        if let (kind, negated) = Self.kind(point) {
            set.add(kind, negated: negated)
            return close(set, negated: false)
        }
        return literal(Self.escaped(point))
    }

    private static func kind(_ point: UInt32) -> (CharacterClass.Kind, negated: Bool)? {
        switch Unicode.Scalar(point) {
        case "w": return (.word, false)
        case "W": return (.word, true)
        case "d": return (.digit, false)
        case "D": return (.digit, true)
        case "s": return (.space, false)
        case "S": return (.space, true)
        default: return nil
        }
    }

    private mutating func set() -> PatternNode {
        let negated = took("^")
        var set = CharacterClass(ascii: ascii)
        while !took("]") {
            var first = next()
            if first == 0x5c {
                first = next()
                if let (kind, negated) = Self.kind(first) {
                    set.add(kind, negated: negated)
                    continue
                }
                first = Self.escaped(first)
            }
            var last = first
            if peek("-"), at + 1 < source.count, source[at + 1] != 0x5d {
                at += 1
                last = next()
                last = last == 0x5c ? Self.escaped(next()) : last
            }
            set.add(first...last, ignoringCase: ignoringCase)
        }
        return close(set, negated: negated)
    }

    private static func escaped(_ point: UInt32) -> UInt32 {
        switch Unicode.Scalar(point) {
        case "n": return 0x0a
        case "r": return 0x0d
        case "t": return 0x09
        case "v": return 0x0b
        case "f": return 0x0c
        default: return point
        }
    }

    private mutating func close(_ set: CharacterClass, negated: Bool) -> PatternNode {
        var set = set
        set.close(negated: negated)
        classes.append(set)
        return .one(classes.count - 1)
    }

    private mutating func repeated(_ node: PatternNode) -> PatternNode {
        let (least, most): (Int, Int)
        if took("*") {
            (least, most) = (0, .max)
        } else if took("+") {
            (least, most) = (1, .max)
        } else if took("?") {
            (least, most) = (0, 1)
        } else if took("{") {
            (least, most) = counts()
        } else {
            return node
        }
        // Of one literal the class is as good, and faster.
        var inner = node
        if case .character(let point) = node {
            var set = CharacterClass(ascii: ascii)
            set.add(point...point, ignoringCase: false)
            inner = close(set, negated: false)
        }
        return .repeated(inner, least: least, most: most, possessive: took("+"))
    }

    private mutating func counts() -> (Int, Int) {
        let least = number() ?? 0
        let most = took(",") ? number() ?? .max : least
        precondition(took("}"), "an expression has a count without an end")
        return (least, most)
    }

    private mutating func number() -> Int? {
        var found: Int?
        while at < source.count, (0x30...0x39).contains(source[at]) { found = (found ?? 0) * 10 + Int(next() - 0x30) }
        return found
    }
}
