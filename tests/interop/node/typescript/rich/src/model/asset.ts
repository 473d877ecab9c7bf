import {Object as DataType, Property} from 'fabric-contract-api';
import {Cents, Colour, Id, Level, Owner, Side, Tags} from './types';

@DataType({discriminator: 'kind'})
export class Thing {
    @Property()
    public kind: string = 'thing';

    @Property()
    public id: Id;
}

@DataType()
export default class Asset extends Thing {
    #read = 0;
    static made: number;

    @Property()
    public value: Cents;

    @Property('tags', 'string[]')
    public tags: Tags;

    @Property()
    public owner: Owner = 'nobody';

    @Property()
    public level: Level = Level.Low;

    @Property()
    public colour: Colour;

    @Property()
    public side?: Side;

    @Property()
    public active?: boolean;

    @Property()
    public get doubled(): number {
        return this.value * 2;
    }

    public constructor(id: Id, value: Cents = 0) {
        super();
        this.id = id;
        this.value = value;
        Asset.made = (Asset.made ?? 0) + 1;
    }

    public get reads(): number {
        return ++this.#read;
    }
}
