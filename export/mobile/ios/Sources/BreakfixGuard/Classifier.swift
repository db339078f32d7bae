/// One encoder pass over a window of a text gives its scores. What runs the model is the app's.
///
/// Knows nothing of policies.

import Foundation

/// The guard's model: one pass over one row of tokens.
public protocol HeadScores: Sendable {
    /// Return the probabilities of all heads, in the order of the tables; throws where the model cannot run.
    ///
    /// `ids` and `types` are the inputs `input_ids` and `token_type_ids`, int64, of shape [1, count].
    func heads(ids: [Int64], types: [Int64]) throws -> [Float]
}

/// What the classifier thinks of one window, and which characters of the text it holds.
struct Scores {
    let unsafe, jailbreak: Double
    let hazard: String
    let refusal: Double
    let start, end: Int
}

/// A text to judge: a user's prompt, or a model's answer together with the prompt.
struct Passage {
    let prompt: Text
    var answer: Text?
}

/// One model input; `unread`: what of one script goes unread, less what is read of it, in weighed bytes; of the worst.
struct Window {
    let ids: [Int64]
    let types: [Int64]
    let start, end: Int
    let unread: Int
}

/// Anything that scores passages and knows the thresholds calibrated on its own file.
protocol CalibratedClassifier: Sendable {
    /// Rail, level and category -> probability.
    var thresholds: [String: [String: [String: Double]]] { get }

    /// Return the scores of every window of each passage, at least one; throws where it cannot.
    func score(_ passages: [Passage]) throws -> [[Scores]]
}

struct Classifier: CalibratedClassifier {
    private static let lines = Pattern("[^\\r\\n\\v\\f\u{1c}-\u{1e}\u{85}\u{2028}\u{2029}]+")

    let thresholds: [String: [String: [String: Double]]]
    let temperatures: [String: Double]
    private let model: any HeadScores
    private let pieces: WordPieces
    private let heads: [String]
    private let headOfRail: [String: Int]
    private let jailbreak, refusal: Int
    private let size, overlap, promptShare, mostWindows, mostUnread, ownHeads: Int
    private let leastLogOdds: Double

    init(_ model: any HeadScores, _ pieces: WordPieces, calibration: Part, _ tables: Part) throws {
        (self.model, self.pieces) = (model, pieces)
        thresholds = try calibration["thresholds"].named { try $0.named { try $0.named { try $0.number() } } }
        temperatures = try calibration["temperatures"].named { try $0.number() }
        let names = try tables["heads"].list().map { try $0.string() }
        heads = names
        let railHeads = try tables["head_of_rail"].named { try $0.int() }
        headOfRail = railHeads
        (size, overlap) = (try tables["window"].int(), try tables["overlap"].int())
        (promptShare, mostWindows) = (try tables["prompt_share"].int(), try tables["most_windows"].int())
        (mostUnread, ownHeads) = (try tables["unread"].int(), try tables["own_heads"].int())
        leastLogOdds = try tables["least_log_odds"].number()
        guard let jailbreak = names.firstIndex(of: Category.jailbreak), let refusal = names.firstIndex(of: "refusal"),
            ownHeads > 0, ownHeads < names.count, overlap >= 0, promptShare >= 0, size - 3 - promptShare > overlap,
            [Rail.input, .output].allSatisfy({ names.indices.contains(railHeads[$0.rawValue] ?? -1) })
        else { throw GuardError("the guard's tables.classifier does not fit itself; make the bundle again") }
        (self.jailbreak, self.refusal) = (jailbreak, refusal)
        for name in [Rail.input.rawValue, Rail.output.rawValue, Category.jailbreak] {
            guard temperatures[name] ?? 0 > 0 else {
                throw GuardError("the guard's calibration.temperatures.\(name) is missing or none; make the bundle again")
            }
        }
    }

    func score(_ passages: [Passage]) throws -> [[Scores]] { try passages.map(score) }

    private func score(_ passage: Passage) throws -> [Scores] {
        let cut = try windows(passage)
        if cut.contains(where: { $0.unread > mostUnread }) { throw UnreadableText() }
        // One row a pass: in a padded batch the int8 scales of one text would depend on its neighbours.
        return try cut.map { try scores(run($0), passage.answer == nil ? .input : .output, $0) }
    }

    /// Return the model's own probabilities of a window.
    func run(_ window: Window) throws -> [Double] {
        let row = try model.heads(ids: window.ids, types: window.types)
        guard row.count == heads.count else { throw GuardError("the guard's model gives other scores than it should") }
        return row.map(Double.init)
    }

    func scores(_ row: [Double], _ rail: Rail, _ window: Window) throws -> Scores {
        var hazard = ownHeads
        for at in ownHeads..<row.count where row[at] > row[hazard] || (row[at].isNaN && !row[hazard].isNaN) { hazard = at }
        guard let head = headOfRail[rail.rawValue], let temperature = temperatures[rail.rawValue],
            let attack = temperatures[Category.jailbreak]
        else { throw GuardError("the guard has no temperature for \(rail.rawValue)") }
        return Scores(
            unsafe: tempered(row[head], temperature), jailbreak: tempered(row[jailbreak], attack), hazard: heads[hazard],
            refusal: row[refusal], start: window.start, end: window.end)
    }

    /// Return the calibrated probability: its logit divided by the temperature. A score that is no number stays none.
    func tempered(_ probability: Double, _ temperature: Double) -> Double {
        guard probability > 0, probability < 1 else { return probability }
        let logOdds = (log(probability) - log1p(-probability)) / temperature
        return logOdds > leastLogOdds ? 1 / (1 + exp(-logOdds)) : 0
    }

    /// Cut a passage into model inputs: [CLS] text [SEP], or [CLS] prompt [SEP] answer [SEP].
    ///
    /// Of a prompt that needs more than one, the first and the last line are read alone as well: a request often stands there,
    /// before or after much else, and would be drowned by it.
    func windows(_ passage: Passage) throws -> [Window] {
        let asked = pieces.encode(passage.prompt)
        guard let answer = passage.answer else {
            let parts = try parts(asked.ids.count, size - 2)
            let ends = parts.count > 1 ? Self.lineEnds(passage.prompt, asked.places, size - 2) : []
            return (parts + ends).map { window(asked, $0, [pieces.start]) }
        }
        let head: [Int] = [pieces.start] + Array(asked.ids.prefix(promptShare)) + [pieces.end]
        let said = pieces.encode(answer)
        return try parts(said.ids.count, size - 1 - head.count).map { window(said, $0, head) }
    }

    private func parts(_ count: Int, _ size: Int) throws -> [Range<Int>] {
        let starts = stride(from: 0, to: max(count - overlap, 1), by: size - overlap).map { $0 }
        guard starts.count <= mostWindows else {
            throw GuardError("the text is too long to be checked whole; send it in smaller parts")
        }
        return starts.map { $0..<min($0 + size, count) }
    }

    /// Return a part of a text behind its head: [CLS], or [CLS] prompt [SEP].
    private func window(_ text: Encoded, _ part: Range<Int>, _ head: [Int]) -> Window {
        let ids: [Int64] = (head + Array(text.ids[part]) + [pieces.end]).map { Int64($0) }
        let isAnswer: Int64 = head.count > 1 ? 1 : 0
        var unread: [String: Int] = [:]
        for counted in text.unread[part] where !counted.isEmpty { unread.merge(counted, uniquingKeysWith: +) }
        let places = text.places[part]
        return Window(
            ids: ids, types: ids.indices.map { $0 < head.count ? 0 : isAnswer }, start: places.first?.start ?? 0,
            end: places.last?.end ?? 0, unread: unread.values.max() ?? 0)
    }

    /// Return which tokens are the first and the last line, where a line of so many tokens fits.
    private static func lineEnds(_ text: Text, _ places: [(start: Int, end: Int)], _ size: Int) -> [Range<Int>] {
        let lines = Self.lines.matches(text).filter { !$0.said.isSpace }
        let ends = lines.count > 1 ? [lines[0], lines[lines.count - 1]] : lines
        return ends.compactMap { line in
            let (first, last) = (Self.first(places, from: line.start), Self.first(places, from: line.end))
            return first < last && last - first <= min(size, places.count - 1) ? first..<last : nil
        }
    }

    /// Return the first token that begins at a place or after it.
    private static func first(_ places: [(start: Int, end: Int)], from start: Int) -> Int {
        var (low, high) = (0, places.count)
        while low < high {
            let middle = (low + high) / 2
            if places[middle].start < start { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
