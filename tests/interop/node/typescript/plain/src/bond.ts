import {Object, Property} from 'fabric-contract-api';

@Object()
export class Bond {
    @Property()
    public docType?: string;

    @Property()
    public ID: string = '';

    @Property()
    public Owner: string = '';

    @Property()
    public FaceValue: number = 0;

    @Property()
    public Paid: boolean = false;
}
