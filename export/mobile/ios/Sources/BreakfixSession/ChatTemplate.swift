/// From a conversation to the text that the model reads, by `chat.json`: the model's own template in plain pieces.
///
/// Special tokens inside a message are not markup but text somebody typed; a space takes their place, so that nobody can close
/// a turn and open another one from inside a message. It knows no model.

import BreakfixGuard

public struct ChatTemplate: Sendable {
    /// The version of chat.json that this reads.
    private static let format = 1

    /// The most tokens of question and answer together.
    public let context: Int
    /// The tokens that end an answer.
    public let ends: Set<Int>
    private let bare, answer: String
    private let around: [Message.Role: (before: String, after: String)]
    private let specials: [Text]
    private let trims: Bool

    /// Read chat.json. Throws BundleError where it is not whole.
    public init(_ bytes: [UInt8]) throws {
        let file = try Json(bytes)
        guard file["format"].int == Self.format, let bare = file["bare"].string, let answer = file["answer"].string,
            let specials = file["specials"].list?.map(\.text), !specials.contains(nil), let context = file["context"].int,
            let ends = file["ends"].list?.map(\.int), !ends.contains(nil), context > 0
        else { throw BundleError("chat.json is damaged or of another version; export the bundle again") }
        (self.bare, self.answer, self.context) = (bare, answer, context)
        self.ends = Set(ends.compactMap { $0 })
        self.specials = specials.compactMap { $0 }.filter { !$0.isEmpty }
        trims = file["trim"].bool ?? false
        var around: [Message.Role: (before: String, after: String)] = [:]
        // A model may have no turn for instructions.
        for role in [Message.Role.system, .user, .assistant] where role != .system || file[role.rawValue].list != nil {
            let pair = file[role.rawValue].list?.compactMap(\.string) ?? []
            guard pair.count == 2 else { throw BundleError("chat.json has no \(role.rawValue) turn; export the bundle again") }
            around[role] = (pair[0], pair[1])
        }
        self.around = around
    }

    /// Return the text of a conversation, ready for the model's answer. Throws BundleError for a turn that the template has not.
    public func render(_ conversation: [Message]) throws -> String {
        let turns = try conversation.map { message in
            guard let (before, after) = around[message.role] else {
                throw BundleError("the model has no turn for instructions; give none")
            }
            let text = cleaned(message.content)
            return before + (trims ? text.trimmed : text).string + after
        }
        return (conversation.first?.role == .system ? "" : bare) + turns.joined() + answer
    }

    /// Put a space in place of each special token, again until none is left.
    private func cleaned(_ message: String) -> Text {
        var text = Text(message)
        while let next = withoutSpecials(text) { text = next }
        return text
    }

    private func withoutSpecials(_ text: Text) -> Text? {
        var (said, at, found) = (Text(), 0, false)
        while at < text.count {
            if let special = specials.first(where: { text.holds($0, at: at) }) {
                said.append(0x20)
                at += special.count
                found = true
            } else {
                said.append(text[at])
                at += 1
            }
        }
        return found ? said : nil
    }
}
